"""clipcore inside training frameworks: each module needs its own framework installed, and nothing else imports it."""
