"""One command-line verb a file: functions that do the work and print nothing."""
