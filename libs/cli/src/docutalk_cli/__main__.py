"""`python -m docutalk_cli` is `docutalk`."""

from __future__ import annotations

from docutalk_cli.main import main

main()
