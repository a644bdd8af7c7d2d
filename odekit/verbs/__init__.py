"""What a user does: one file a public function."""
