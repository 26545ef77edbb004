"""A page in the browser beside a running cascade: try pictures, move the threshold, watch the load. Stores nothing."""

from littlebig_playground.app import create_app
from littlebig_playground.cascade import Cascade
from littlebig_playground.listening import PortTaken, serve_page
from littlebig_playground.load import Load

__all__ = ["Cascade", "Load", "PortTaken", "create_app", "serve_page"]
