"""One command-line verb a file: functions that do the work and print nothing. Whoever imports one
is about to compute: from here on freed memory is kept (memory.py), and numbers below float32's
normal range count as zero (subnormal.py)."""

from simulacra.core import allocator, subnormal

allocator.keep()
subnormal.flush()
