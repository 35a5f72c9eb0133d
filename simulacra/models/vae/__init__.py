"""VAE and VAE-GAN: pictures as a few numbers."""
