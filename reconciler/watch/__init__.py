"""When to look again. A trigger carries no news: the world is read anew at each pass. Never here: what to build."""
