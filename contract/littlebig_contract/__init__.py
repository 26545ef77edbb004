"""What the parts of Little-Big agree on: names, file formats and photographs. Imports no other part."""
