"""The command `littlebig`: one module per sub-command, imported only when the sub-command runs."""
