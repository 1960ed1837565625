"""What survives a crash: two RocksDB databases, one writer each; nothing else in the house imports rocksdict."""
