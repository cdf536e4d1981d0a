package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	demoWidth  = 80 // columns
	demoIndent = 12 // of the text of a step, behind its label
)

// printer prints the demo's account for people. The first write that fails ends the demo.
type printer struct {
	quit   func() // ends the demo
	failed error  // of a write
	bar    bool   // a progress bar stands in the last line
	shown  time.Time
}

type color string

const (
	bold  color = "1"
	green color = "32"
)

// paint colors text, where the output has colors.
func (d *demo) paint(c color, text string) string {
	if !d.colored() {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// plain is text without control characters.
func plain(text string) string { return string(appendEscaped(nil, []byte(text), false)) }

// say prints a line.
func (d *demo) say(format string, args ...any) {
	if d.json() {
		return
	}
	d.clear()
	d.print(fmt.Sprintf(format+"\n", args...))
}

func (d *demo) print(text string) {
	if d.out.failed != nil {
		return
	}
	if _, d.out.failed = fmt.Fprint(d.stdout, text); d.out.failed != nil {
		d.out.quit()
	}
}

// item prints a step: the label where it begins, then the text, in lines that fit the width.
func (d *demo) item(label, format string, args ...any) {
	for i, line := range wrap(fmt.Sprintf(format, args...), demoWidth-demoIndent) {
		if i > 0 {
			label = ""
		}
		head := fmt.Sprintf("%-*s", demoIndent, label)
		if label != "" {
			head = d.paint(bold, label) + head[len(label):]
		}
		if line == "" {
			head = ""
		}
		d.say("%s", head+line)
	}
}

// wrap breaks text at spaces into lines of at most width columns, if no word is longer. Lines that
// are short enough stay as they are. What follows the first line of a text has its indentation.
func wrap(text string, width int) []string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		for columns(line) > width {
			cut := -1
			for i, r := range line {
				if r == ' ' && i >= len(indent) && (cut < 0 || columns(line[:i]) <= width) {
					cut = i
				}
			}
			if cut <= len(indent) {
				break
			}
			lines = append(lines, line[:cut])
			line = indent + line[cut+1:]
		}
		lines = append(lines, line)
	}
	return lines
}

// columns is how many columns text takes: a rune is one, a color none.
func columns(text string) int {
	n := 0
	for text != "" {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			_, text, _ = strings.Cut(rest, "m")
			continue
		}
		_, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		n++
	}
	return n
}

// progress shows how far a step is, on a terminal, ten times a second.
func (d *demo) progress(done, of uint64, what string) {
	const width = 30
	now := time.Now()
	if d.json() || !d.moving() || of == 0 || now.Sub(d.out.shown) < time.Second/10 {
		return
	}
	d.out.shown = now
	full := int(min(done, of) * width / of)
	line := fmt.Sprintf("%s%s %3d %%  %s %s", strings.Repeat("█", full),
		strings.Repeat("░", width-full), min(done, of)*100/of, commas(done), what)
	d.clear()
	d.out.bar = true
	d.print(strings.Repeat(" ", demoIndent) + line)
}

// clear removes the progress bar.
func (d *demo) clear() {
	if d.out.bar {
		d.out.bar = false
		d.print("\r" + strings.Repeat(" ", demoWidth-1) + "\r")
	}
}
