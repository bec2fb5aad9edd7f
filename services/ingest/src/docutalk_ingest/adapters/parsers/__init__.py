"""Readers of file formats. They run only inside the parser process, see `parser_host`."""
