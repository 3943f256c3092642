package upstream

import (
	"errors"
	"io"
	"testing"
)

// What becomes of a copy that is not sent must not hide that the one before it was.
func TestCopyThatWasNotSentSaysNothingOfTheOneBefore(t *testing.T) {
	for _, err := range []error{errUnsent, errQueueFull} {
		var c call
		if c.failed(err); !errors.Is(c.err, err) || c.ran {
			t.Errorf("the first copy: %v, ran: %v", c.err, c.ran)
		}
		c.failed(io.EOF)
		if c.failed(err); !errors.Is(c.err, io.EOF) || !c.ran {
			t.Errorf("the second copy: %v, ran: %v", c.err, c.ran)
		}
	}
}
