"""What a bundle holds: manifest, inputs and outputs of its graphs, tokenizer."""
