"""The embedded engine: llama.cpp, and the GGUF files it reads."""
