package proxy

// This file splits an inline command, a line as a person types it, into its
// arguments, with the quotes and escapes that Redis knows.

import "strconv"

// splitInline returns the arguments of one line, without its line end. Its
// error is errQuotes: a quote that does not close, or closes within a word.
func splitInline(line []byte) ([][]byte, error) {
	var args [][]byte
	for {
		for len(line) > 0 && isSpace(line[0]) {
			line = line[1:]
		}
		if len(line) == 0 {
			return args, nil
		}
		arg, rest, err := inlineWord(line)
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
		line = rest
	}
}

func inlineWord(line []byte) (word, rest []byte, err error) {
	word = []byte{}
	for len(line) > 0 && !endsWord(line[0]) {
		quote := line[0]
		if quote != '"' && quote != '\'' {
			word = append(word, line[0])
			line = line[1:]
			continue
		}
		if word, line, err = inlineQuoted(word, line[1:], quote); err != nil {
			return nil, nil, err
		}
		if len(line) > 0 && !isSpace(line[0]) {
			return nil, nil, errQuotes
		}
		break // a closing quote ends the word
	}
	return word, line, nil
}

// inlineQuoted appends what stands before the closing quote to word.
func inlineQuoted(word, line []byte, quote byte) (_, rest []byte, err error) {
	for len(line) > 0 {
		c, n := line[0], 1
		switch {
		case c == quote:
			return word, line[1:], nil
		case c == '\\' && quote == '"':
			c, n = escaped(line)
		case c == '\\' && len(line) > 1 && line[1] == quote:
			c, n = quote, 2
		}
		word, line = append(word, c), line[n:]
	}
	return nil, nil, errQuotes
}

// escaped reads the escape sequence that line begins with.
func escaped(line []byte) (c byte, n int) {
	if len(line) >= 4 && line[1] == 'x' {
		if v, err := strconv.ParseUint(string(line[2:4]), 16, 8); err == nil {
			return byte(v), 4
		}
	}
	if len(line) == 1 {
		return '\\', 1
	}
	switch line[1] {
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'b':
		return '\b', 2
	case 'a':
		return '\a', 2
	}
	return line[1], 2
}

// endsWord leaves out two that isSpace has, as Redis does.
func endsWord(c byte) bool {
	return isSpace(c) && c != '\v' && c != '\f'
}

func isSpace(c byte) bool {
	return c == ' ' || '\t' <= c && c <= '\r'
}
