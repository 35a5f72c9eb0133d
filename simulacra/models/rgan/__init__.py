"""RGAN: pictures and series written by recurrent nets."""
