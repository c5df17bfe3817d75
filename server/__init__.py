"""The server: takes steps in from trainers, keeps every one, shows them to browsers and carries controls back."""
