"""The networks of Genie: tokenizer, latent action model, dynamics."""
