package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// moving reports whether a line of the output may be replaced: on a terminal that can do it.
func (a *app) moving() bool {
	t := os.Getenv("TERM")
	return a.terminal(a.stdout) && t != "" && t != "dumb"
}

// colored reports whether text on the output may have color: where lines may be replaced, unless
// NO_COLOR is set (https://no-color.org).
func (a *app) colored() bool { return a.moving() && os.Getenv("NO_COLOR") == "" }

// appendEscaped appends text to b in a form that a terminal displays and does not obey. Printable
// characters and tabs stay as they are. Control characters (C0, DEL and C1), line and paragraph
// separators, characters that reorder text, and bytes that are not UTF-8 become \n, \r, \x1b or
// \u009b. A newline stays as it is if newlines is true. The form cannot be read back: a backslash
// stays as it is.
func appendEscaped(b, text []byte, newlines bool) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == '\n' && newlines, r == '\t':
			b = append(b, byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r < 0x80 && unicode.IsControl(r), r == utf8.RuneError && n == 1:
			b = fmt.Appendf(b, `\x%02x`, text[0])
		case obeyed(r):
			b = appendUnicode(b, r)
		default:
			b = append(b, text[:n]...)
		}
		text = text[n:]
	}
	return b
}

// appendEscapedJSON appends a JSON text to b with the characters that appendEscaped escapes, and
// that may only stand in its strings, as \u009b: it stays the same JSON.
func appendEscapedJSON(b, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r >= 0x7f && obeyed(r) {
			b = appendUnicode(b, r)
		} else {
			b = append(b, text[:n]...)
		}
		text = text[n:]
	}
	return b
}

// obeyed reports whether a terminal may do something else than display r: all of these have at
// most 16 bits.
func obeyed(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) ||
		r == '\u2028' || r == '\u2029'
}

func appendUnicode(b []byte, r rune) []byte {
	const digits = 4
	hex := strconv.FormatUint(uint64(r), 16)
	b = append(b, `\u`...)
	for range digits - len(hex) {
		b = append(b, '0')
	}
	return append(b, hex...)
}

// plainWriter escapes what is written to it, but for newlines: names and texts that come from the
// journal's directory must not reach a terminal as commands. A write must not end within a
// character.
type plainWriter struct{ w io.Writer }

func (p plainWriter) Write(text []byte) (int, error) {
	if _, err := p.w.Write(appendEscaped(nil, text, true)); err != nil {
		return 0, err
	}
	return len(text), nil
}
