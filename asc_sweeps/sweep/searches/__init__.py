"""The only door to Optuna.

`search_study.SearchStudy` is one search: it samples by `sampling`, keeps its state in the database of `optuna_storage`, and is
recorded by `search_record`. `importance` is for reports: which sampled settings matter.
"""
