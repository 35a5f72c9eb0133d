"""Of trainings: is this one well?"""
