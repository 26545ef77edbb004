"""`python -m littlebig_cli` is `littlebig`, for whoever knows the interpreter and not the PATH."""

from littlebig_cli.main import main

main()
