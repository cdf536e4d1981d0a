package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestChart: limits come first, then logs, the fastest first; there is an axis, and it is XML.
func TestChart(t *testing.T) {
	text := string(chart("A & B", []bar{
		{"slow", 5e6, peerBar}, {"ours", 300, oursBar}, {"limit", 1e3, limitBar}, {"fast", 70, peerBar},
	}))
	rest := text
	for _, want := range []string{
		"A &amp; B", "lower is better", ">10 ns<", ">100 ns<", ">1 µs<", ">10 µs<", ">100 µs<", ">1 ms<",
		">limit<", ">fast<", ">ours<", ">slow<", ">5.00 ms<",
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%q is not there, or not in order:\n%s", want, text)
		}
		rest = after
	}
	d := xml.NewDecoder(bytes.NewReader([]byte(text)))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
