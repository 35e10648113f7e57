"""Much to translate with one client: several calls in flight, order kept, files as a whole."""
