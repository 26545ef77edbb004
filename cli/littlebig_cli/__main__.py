"""`python -m littlebig_cli` runs `littlebig`."""

from littlebig_cli.main import main

main()
