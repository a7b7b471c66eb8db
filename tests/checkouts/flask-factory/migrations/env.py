config = None
