package proxy

// This file writes replies in the protocol version that the client chose.

import (
	"strconv"

	"github.com/tidwall/redcon"
)

// reply collects the replies that are not written yet. Where RESP2 lacks a type, the
// method says what stands for it.
type reply struct {
	b     []byte
	proto int
}

func (r *reply) simple(s string) { r.b = redcon.AppendString(r.b, s) }
func (r *reply) int(n int64)     { r.b = redcon.AppendInt(r.b, n) }
func (r *reply) bulk(s string)   { r.b = redcon.AppendBulkString(r.b, s) }
func (r *reply) bytes(b []byte)  { r.b = redcon.AppendBulk(r.b, b) }
func (r *reply) array(n int)     { r.header('*', n) }

// error appends an error line: its code, a space, one sentence.
func (r *reply) error(line string) {
	r.b = append(append(append(r.b, '-'), line...), "\r\n"...)
}

// null appends a null; a null bulk string in RESP2.
func (r *reply) null() {
	if r.proto >= 3 {
		r.b = append(r.b, "_\r\n"...)
		return
	}
	r.b = append(r.b, "$-1\r\n"...)
}

// mapping begins a map of n pairs; an array of 2n elements in RESP2.
func (r *reply) mapping(n int) {
	if r.proto >= 3 {
		r.header('%', n)
		return
	}
	r.header('*', 2*n)
}

// set begins a set of n elements; an array in RESP2.
func (r *reply) set(n int) {
	if r.proto >= 3 {
		r.header('~', n)
		return
	}
	r.header('*', n)
}

// text appends a text for people; a bulk string in RESP2.
func (r *reply) text(s string) {
	if r.proto >= 3 {
		r.header('=', len(s)+len("txt:"))
		r.b = append(append(append(r.b, "txt:"...), s...), "\r\n"...)
		return
	}
	r.bulk(s)
}

// simples appends a set of simple strings.
func (r *reply) simples(ss []string) {
	r.set(len(ss))
	for _, s := range ss {
		r.simple(s)
	}
}

// lines appends an array of simple strings, the form of HELP.
func (r *reply) lines(ss []string) {
	r.array(len(ss))
	for _, s := range ss {
		r.simple(s)
	}
}

func (r *reply) header(kind byte, n int) {
	r.b = strconv.AppendInt(append(r.b, kind), int64(n), 10)
	r.b = append(r.b, "\r\n"...)
}
