package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// onTerminal runs the tool with an output that is a terminal.
func onTerminal(args ...string) result {
	var out, errs bytes.Buffer
	a := newApp(strings.NewReader(""), &out, &errs)
	a.terminal = func(w io.Writer) bool { return w == &out }
	code := a.run(context.Background(), args)
	return result{code, out.String(), errs.String()}
}

// controls returns the characters of s that a terminal may obey, but for newlines and tabs.
func controls(s string) string {
	var found strings.Builder
	for i, r := range s {
		_, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\n', r == '\t':
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == utf8.RuneError && n == 1:
			fmt.Fprintf(&found, "%+q ", s[i:i+n])
		}
	}
	return found.String()
}

// everyByte is a payload with each byte, and with characters that are dangerous as more than one.
var everyByte = func() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b) + "\u009b31m \u202e \u2066 \u2028 ä €"
}()

func TestCatEscapesOnTerminal(t *testing.T) {
	const payload = "\x1b]0;title\x07a\tb\r\nc\x7f \u009b2J \u202egnp \xff ä"
	const escaped = `\x1b]0;title\x07a` + "\t" + `b\r\nc\x7f \u009b2J \u202egnp \xff ä`
	dir := filepath.Join(t.TempDir(), "log")
	mustTool(t, payload, "append", "--whole", dir)
	mustTool(t, everyByte, "append", "--whole", dir)
	plain := payload + "\n"
	raw := strings.Replace(escaped, `\n`, "\n", 1)
	for _, c := range []struct {
		terminal bool
		args     string
		want     string
	}{
		{false, "", plain},
		{false, "--escape never", plain},
		{false, "--escape always", escaped + "\n"},
		{false, "--format raw --escape always", raw},
		{true, "", escaped + "\n"},
		{true, "--escape auto", escaped + "\n"},
		{true, "--format raw", raw},
		{true, "--escape never", plain},
		{true, "--format raw --escape never", payload},
		{true, "--format framed --escape never", framedItems([]byte(payload))},
		{false, "--format framed", framedItems([]byte(payload))},
	} {
		args := append([]string{"cat", dir, "-n", "1"}, strings.Fields(c.args)...)
		r := tool("", args...)
		if c.terminal {
			r = onTerminal(args...)
		}
		if r.code != exitIntact || r.stdout != c.want {
			t.Errorf("terminal %t, cat %s: exit code %d, %q\n%q", c.terminal, c.args, r.code, r.stderr,
				r.stdout)
		}
	}
	for _, format := range []string{"lines", "raw", "hex", "json"} {
		r := onTerminal("cat", dir, "--format", format)
		if bad := controls(r.stdout); r.code != exitIntact || r.stdout == "" || bad != "" {
			t.Errorf("--format %s: exit code %d, control characters %s", format, r.code, bad)
		}
	}
}

func TestCatEscapeUsage(t *testing.T) {
	dir := newJournal(t, 1)
	wantCode(t, exitUsage, "--escape x: auto, always or never", "cat", dir, "--escape", "x")
	wantCode(t, exitUsage, "contradict", "cat", dir, "--escape", "always", "--format", "framed")
	r := onTerminal("cat", dir, "--format", "framed")
	const want = "not written to a terminal"
	if r.code != exitUsage || !strings.Contains(r.stderr, want) || r.stdout != "" {
		t.Errorf("framed on a terminal: exit code %d, %q, %q", r.code, r.stderr, r.stdout)
	}
}

// TestJSONHasNoControlCharacters: what is escaped in JSON is the same JSON, terminal or not.
func TestJSONHasNoControlCharacters(t *testing.T) {
	const payload = "\x00\x1b\x7f\u0080\u009b\u202e\u2069\u2028ä😀\\u009b"
	dir := filepath.Join(t.TempDir(), "log")
	mustTool(t, payload, "append", "--whole", dir)
	out := mustTool(t, "", "cat", "-o", "json", dir)
	if bad := controls(out); bad != "" {
		t.Errorf("control characters %s in %q", bad, out)
	}
	var line struct{ Text string }
	if err := json.Unmarshal([]byte(out), &line); err != nil || line.Text != payload {
		t.Errorf("%v: text %q, want %q", err, line.Text, payload)
	}
}

// TestNamesAreEscaped: a directory's name, and names in it, cannot control a terminal either.
func TestNamesAreEscaped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "\x1b[2J\u009b31m")
	mustTool(t, numbered(1, 3), "append", dir)
	if err := os.WriteFile(filepath.Join(dir, "x\x1b]0;y\x07"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"info", dir}, {"segments", dir}, {"verify", dir}, {"info", "-o", "json", dir},
		{"append", dir}, {"cat", dir, "--from", "9", "--to", "1"}, {"info", dir + "/JOURNAL"},
	} {
		r := tool("", args...)
		if bad := controls(r.stdout + r.stderr); bad != "" {
			t.Errorf("%q: control characters %s in\n%q\n%q", args, bad, r.stdout, r.stderr)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	if isTerminal(&bytes.Buffer{}) {
		t.Error("a buffer is a terminal")
	}
	f, err := os.Open(os.DevNull) // a character device, and no terminal
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if isTerminal(f) {
		t.Error("the null device is a terminal")
	}
}

func TestEscapedRaw(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain ä😀\t": "plain ä😀\t", "\n\r\x00\x1f": `\n\r\x00\x1f`, "\x7f\xc2": `\x7f\xc2`,
		"\xc2\x85\u061c": `\u0085\u061c`, "\xe2\x80": `\xe2\x80`, "�": "�",
	} {
		if got := string(appendEscaped(nil, []byte(in), false)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
