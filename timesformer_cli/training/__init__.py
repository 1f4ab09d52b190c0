"""From labelled clips to a trained model: data, augmentation, the loop, what it remembers."""
