"""The gRPC client of a served cascade."""
