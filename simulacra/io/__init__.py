"""Readers and writers: pictures, films, clips, masks, tables, downloads.
Only they and the painters know bytes."""
