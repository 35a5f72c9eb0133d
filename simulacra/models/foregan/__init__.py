"""ForeGAN: foreground, matte and clean background of a clip."""
