class Entry:
    limit = 10
