package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	inputSize    = 256 << 10 // of one read, and of the buffer above it
	inputBuffers = 4
)

// chunk is the outcome of one read.
type chunk struct {
	data []byte // at the beginning of a buffer
	err  error
}

// input reads from src in a goroutine of its own, so that a read that blocks does not outlive ctx.
// When ctx is done, Read returns its error; the goroutine ends with its read.
type input struct {
	ctx   context.Context
	full  chan chunk
	free  chan []byte
	owned []byte // the buffer that rest is in
	rest  []byte
	err   error
}

func newInput(ctx context.Context, src io.Reader) *input {
	in := &input{
		ctx: ctx, full: make(chan chunk, inputBuffers), free: make(chan []byte, inputBuffers),
	}
	for range inputBuffers {
		in.free <- make([]byte, inputSize)
	}
	go in.run(src)
	return in
}

func (in *input) run(src io.Reader) {
	for {
		select {
		case buf := <-in.free:
			n, err := src.Read(buf)
			in.full <- chunk{buf[:n], err} // as many places as buffers: it never waits
			if err != nil {
				return
			}
		case <-in.ctx.Done():
			return
		}
	}
}

// Read is as io.Reader wants it.
func (in *input) Read(p []byte) (int, error) {
	for len(in.rest) == 0 {
		if err := in.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

// next waits for the next chunk.
func (in *input) next() error {
	if in.owned != nil {
		in.free <- in.owned[:inputSize]
		in.owned = nil
	}
	if in.err == nil {
		in.err = in.ctx.Err()
	}
	if in.err != nil {
		return in.err
	}
	select {
	case c := <-in.full:
		in.owned, in.rest, in.err = c.data, c.data, c.err
		return nil
	case <-in.ctx.Done():
		return in.ctx.Err()
	}
}

// lines appends each line. What is read of a line when ctx ends is dropped.
func (p *appender) lines(ctx context.Context, r *bufio.Reader) error {
	var long []byte
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long, err = readLong(r, append(long[:0], line...), p.limit)
			line = long
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		line = bytes.TrimSuffix(line, []byte{'\n'})
		if int64(len(line)) > p.limit {
			return p.tooLarge(fmt.Sprintf("line %d: %d bytes so far", n, len(line)))
		}
		if err := p.add(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// readLong reads on until the line in buf is whole or longer than limit.
func readLong(r *bufio.Reader, buf []byte, limit int64) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		buf = append(buf, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return buf, err
		}
		if int64(len(buf)) > limit+1 {
			return buf, nil
		}
	}
}

// whole appends the input as one record.
func (p *appender) whole(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, p.limit+1))
	if err != nil {
		return err
	}
	if int64(len(b)) > p.limit {
		return p.tooLarge(fmt.Sprintf("the input: %d bytes so far", len(b)))
	}
	return p.add(b)
}

// framed appends items that begin with their length.
func (p *appender) framed(ctx context.Context, r *bufio.Reader) error {
	var head [4]byte
	var buf []byte
	for n, at := 1, int64(0); ; n++ {
		_, err := io.ReadFull(r, head[:])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return truncatedItem(n, at, err, "its length has 4 bytes")
		}
		size := int64(binary.LittleEndian.Uint32(head[:]))
		if size > p.limit {
			return p.tooLarge(fmt.Sprintf("item %d, at byte %d: a length of %d bytes", n, at, size))
		}
		if buf, err = readItem(r, buf[:0], size); err != nil {
			return truncatedItem(n, at, err, fmt.Sprintf("it has %d of %d bytes", len(buf), size))
		}
		if err := p.add(buf); err != nil {
			return fmt.Errorf("item %d: %w", n, err)
		}
		at += 4 + size
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// readItem appends size bytes to buf, which grows with what is really there.
func readItem(r io.Reader, buf []byte, size int64) ([]byte, error) {
	const step = 1 << 20
	for left := size; left > 0; {
		n := int(min(left, step))
		buf = slices.Grow(buf, n)
		got, err := io.ReadFull(r, buf[len(buf):len(buf)+n])
		buf = buf[:len(buf)+got]
		if err != nil {
			return buf, err
		}
		left -= int64(n)
	}
	return buf, nil
}

// truncatedItem says where the input ends too early; other errors of reading it are passed on.
func truncatedItem(n int, at int64, err error, why string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("item %d, at byte %d: the input ends within it: %s", n, at, why)
	}
	return err
}

// tooLarge says what does not fit, and what to do.
func (p *appender) tooLarge(what string) error {
	return fmt.Errorf("%s; the largest record is %d bytes with segments of %s: "+
		"use a larger --segment-size, which applies to new segments", what, p.limit, size(p.size))
}
