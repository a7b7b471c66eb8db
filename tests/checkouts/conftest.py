"""These folders are projects to look at, not tests: nothing in them is collected."""

collect_ignore_glob = ["*"]
