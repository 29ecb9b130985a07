"""Data sets: lists, checks, generated miniatures, the training cache, features, augmentation, splits."""
