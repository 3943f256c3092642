package upstream

// OpenDoubts returns how many acquires are in doubt.
func (e *Engine) OpenDoubts() int { return len(e.doubts.all()) }
