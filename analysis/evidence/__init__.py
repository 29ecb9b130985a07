"""What workspaces hold, as data frames and predictions.

loading      Evidence: results, failures and studies of workspaces, read once; every section of the report is a function of it
frames       one row per trial, one row per epoch
predictions  stored predictions of a trial, segment by segment
measures     the scores by which systems are compared
counts       counted parameters and MACs beside the printed ones
study_spaces studies as search spaces that list their trials
embedded     the JSON that a report carries
"""
