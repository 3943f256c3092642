package proxy

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const fuzzMaxBytes, fuzzMaxArgs = 1 << 10, 5

// frames cuts the input into commands with a framer that sees it in pieces of
// the given length.
func frames(input []byte, piece int) (commands []string, err error) {
	f := framer{maxBytes: fuzzMaxBytes, maxArgs: fuzzMaxArgs}
	begin, end := 0, 0
	for end < len(input) {
		end = min(end+piece, len(input))
		for {
			n, err := f.next(input[begin:end])
			if err != nil {
				return commands, err
			}
			if n == 0 {
				break
			}
			var args [][]byte
			if cmd := input[begin : begin+n]; cmd[0] != '*' {
				if args, err = inlineArguments(cmd, fuzzMaxArgs); err != nil {
					return commands, err
				}
			} else {
				for _, at := range f.found {
					args = append(args, cmd[at.from:at.to])
				}
			}
			if len(args) > 0 {
				commands = append(commands, string(appendCommand(nil, args)))
			}
			begin += n
		}
	}
	return commands, nil
}

// reference reads the same in the plainest way: whole, with a buffered reader.
// ok is false if the input is broken somewhere.
func reference(input []byte) (commands []string, ok bool) {
	r := bufio.NewReaderSize(bytes.NewReader(input), len(input)+16)
	for {
		args, err := referenceCommand(r, len(input))
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return commands, true
		case err != nil:
			return commands, false
		case len(args) > 0:
			commands = append(commands, string(appendCommand(nil, args)))
		}
	}
}

func referenceCommand(r *bufio.Reader, total int) (args [][]byte, err error) {
	first, err := r.Peek(1)
	if err != nil {
		return nil, err
	}
	if first[0] != '*' {
		line, err := r.ReadBytes('\n')
		switch {
		case len(line) > fuzzMaxBytes:
			return nil, errOdd
		case err != nil:
			return nil, err
		}
		args, err := splitInline(line)
		if len(args) > fuzzMaxArgs {
			return nil, errOdd
		}
		return args, err
	}
	size := 0
	count, err := referenceHeader(r, '*', &size)
	if err != nil {
		return nil, err
	}
	if count > fuzzMaxArgs {
		return nil, errOdd
	}
	for range count {
		n, err := referenceHeader(r, '$', &size)
		if err != nil {
			return nil, err
		}
		if size += n + 2; n < 0 || n > total+fuzzMaxBytes || size > fuzzMaxBytes {
			return nil, errOdd
		}
		arg := make([]byte, n+2)
		if _, err := io.ReadFull(r, arg); err != nil {
			return nil, io.EOF
		}
		if string(arg[n:]) != "\r\n" {
			return nil, errOdd
		}
		args = append(args, arg[:n])
	}
	return args, nil
}

func referenceHeader(r *bufio.Reader, kind byte, size *int) (int, error) {
	if c, err := r.Peek(1); err != nil || c[0] != kind {
		if err != nil {
			return 0, io.EOF
		}
		return 0, errOdd
	}
	line, err := r.ReadString('\n')
	*size += len(line)
	switch {
	case err == nil && len(line) > maxHeader, err != nil && len(line) >= maxHeader:
		return 0, errOdd
	case err != nil && *size > fuzzMaxBytes:
		return 0, errOdd
	case err != nil:
		return 0, io.EOF
	case !strings.HasSuffix(line, "\r\n"):
		return 0, errOdd
	}
	digits := line[1 : len(line)-2]
	n, err := strconv.Atoi(digits)
	if err != nil || strconv.Itoa(n) != digits || kind == '*' && n > 1<<20 {
		return 0, errOdd
	}
	return n, nil
}

// FuzzFrame: however the bytes are cut into pieces, the same commands come out, and
// they are those that a plain reader finds.
func FuzzFrame(f *testing.F) {
	for _, attack := range attacks() {
		f.Add([]byte(attack.bytes[:min(len(attack.bytes), 3000)]), 7)
	}
	for _, s := range []string{
		"PING\r\n", "*1\r\n$4\r\nPING\r\n*0\r\n*-1\r\n\r\nECHO 'a b' \"\\x41\"\n", "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "*5\r\n$1\r\n", "*1\r\n$1100\r\n",
		"*3\r\n$3\r\na\r\n\r\n$1\r\nb\r\n$2\r\n\r\n\r\nPING", "a b c d e f\n", "*6\r\n", "*1\r\n$04\r\nPING\r\n",
	} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, input []byte, piece int) {
		whole, wholeErr := frames(input, len(input)+1)
		split, splitErr := frames(input, max(1, piece%(fuzzMaxBytes*2)))
		if !slices.Equal(whole, split) || (wholeErr == nil) != (splitErr == nil) {
			t.Fatalf("whole: %q, %v; in pieces: %q, %v", whole, wholeErr, split, splitErr)
		}
		want, ok := reference(input)
		if !slices.Equal(whole, want) || (wholeErr == nil) != ok {
			t.Fatalf("got %q, %v; want %q, %v", whole, wholeErr, want, ok)
		}
	})
}

func TestInlineWordsAreSplitAsRedisDoes(t *testing.T) {
	for line, want := range map[string][]string{
		"PING\r\n":                         {"PING"},
		"  PING\t\"x y\"  \n":              {"PING", "x y"},
		"a'b'":                             {"ab"},
		`'a\'b' "\x41\n\a\z\"" '\n'`:       {"a'b", "A\n\az\"", `\n`},
		`"" ''`:                            {"", ""},
		"\r\n":                             nil,
		`"\xZZ"`:                           {"xZZ"},
		"a\x00b":                           {"a\x00b"},
		"LOCK.ACQUIRE caf\xc3\xa9 PX 1000": {"LOCK.ACQUIRE", "caf\xc3\xa9", "PX", "1000"},
	} {
		args, err := splitInline([]byte(line))
		var got []string
		for _, arg := range args {
			got = append(got, string(arg))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v; want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`"a`, `'a`, `"a"b`, `'a'b`, `a"`, `"\`} {
		if args, err := splitInline([]byte(line)); err != errQuotes {
			t.Errorf("%q: got %q, %v", line, args, err)
		}
	}
}

func TestIntegersAreReadStrictly(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "7": 7, "-7": -7, "9223372036854775807": 9223372036854775807, "-9223372036854775808": -9223372036854775808,
	} {
		if got, ok := parseInt([]byte(s)); got != want || !ok {
			t.Errorf("%q: got %d, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "-", "-0", "+1", "01", "-01", " 1", "1 ", "1.0", "0x1", "1_0", "9223372036854775808", "-9223372036854775809", "99999999999999999999", "--1", "a"} {
		if got, ok := parseInt([]byte(s)); ok {
			t.Errorf("%q: got %d", s, got)
		}
	}
}

// FuzzRawBytes sends bytes to a live server: it answers the next client, and the
// connection's goroutine ends.
func FuzzRawBytes(f *testing.F) {
	for _, attack := range attacks() {
		f.Add([]byte(attack.bytes[:min(len(attack.bytes), 5000)]))
	}
	for _, s := range []string{
		"PING\r\nQUIT\r\n", "CLIENT REPLY OFF\r\nHELLO 3\r\n", "LOCK.ACQUIRE a PX 1 OWNER b LIMIT 3\r\n", "LOCK.SCAN 0 MATCH [ COUNT 1\r\n",
		"COMMAND DOCS\r\nCOMMAND INFO client|id |\r\nCOMMAND LIST FILTERBY PATTERN [^\r\n", "LOCK.ACQUIRE panic\r\n", "HELLO 3 AUTH default x SETNAME y\r\n",
	} {
		f.Add([]byte(s))
	}
	ln := newPipeListener()
	srv := New(quiet(Options{}))
	go func() { _ = srv.Serve(ln) }()
	f.Cleanup(func() { _ = srv.Close() })
	f.Fuzz(func(t *testing.T, input []byte) {
		if bytes.Contains(bytes.ToLower(input), []byte("slow")) {
			t.Skip("waits for a gate that nobody opens")
		}
		conn := ln.dial()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, conn)
		}()
		_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = conn.Write(input)
		_ = conn.Close()
		<-drained
		newClient(t, ln.dial()).want("+PONG\r\n", "PING")
		eventually(t, "the fuzzed connection ends", func() bool { return srv.Connections() <= 1 })
	})
}
