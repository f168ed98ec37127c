"""Many trainings on one data set: cross-validation, ensembles, and settings found by trying.

`folds` parts the images, `crossvalidation` trains and scores on them, `ensemble` trains on all with
several seeds; `space` lists what is tried, `study` chooses and prunes (the only door to Optuna),
`tuning` joins them. `begun` and `trainings` are what makes each resumable.
"""
