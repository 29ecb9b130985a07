"""What leaves a workspace: networks for other runtimes, predictions of unlabelled files, a challenge submission."""

from __future__ import annotations

import io
import json
import shutil
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from small_trials import SMALL, config_of, data, workspace  # noqa: F401  (fixtures)
from sweeping import run

from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.data.unlabelled import list_files
from asc_sweeps.deploy.export import export_trial, finished_trial_config
from asc_sweeps.deploy.predict import format_predictions, predict_folder
from asc_sweeps.deploy.runtimes import as_onnx, onnx_runner
from asc_sweeps.deploy.submission import check_label, check_output, parse_author
from asc_sweeps.errors import ConfigError, DataError, WorkspaceError
from asc_sweeps.models.network import Network
from asc_sweeps.training.run_trial import run_trial

pytestmark = pytest.mark.slow

ROUNDED = {"quantize.epochs": 1, "quantize.batch_size": 32, "quantize.calibration_segments": 64}


@pytest.fixture(scope="module")
def trained(config_of, workspace):
    return run_trial(config_of(), workspace)


@pytest.fixture(scope="module")
def evaluation_set(workspace, data, tmp_path_factory):
    """Test files under numbers, without labels, as an evaluation set has them."""
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "audio").mkdir()
    names = [name for name, split in zip(data.filenames, data.splits, strict=True) if split == "test"]
    for number, name in enumerate(names):
        shutil.copy(workspace.data / "set" / name, folder / f"audio/{number}.wav")
    return folder, names


def predicted(config, workspace, folder):
    return predict_folder(config, workspace, folder, lambda done, total: None)


# -- predictions


def test_unlabelled_files_get_the_predictions_that_the_trainer_scored(trained, config_of, workspace, evaluation_set):
    folder, names = evaluation_set
    numbered, probabilities = predicted(config_of(), workspace, folder)
    assert numbered == [f"audio/{n}.wav" for n in range(len(names))]
    with np.load(workspace.trial(trained.signature) / "test_predictions.npz") as stored:
        scored = dict(zip(stored["filename"], np.exp(stored["log_probability"]), strict=True))
    assert np.allclose(probabilities, [scored[name] for name in names], atol=1e-5)


def test_a_second_prediction_computes_nothing(trained, config_of, workspace, evaluation_set):
    folder, _ = evaluation_set
    first = predicted(config_of(), workspace, folder)[1]
    (chunk,) = (workspace.root / "predictions").glob(f"{trained.signature}-*/*.npy")
    before = chunk.stat().st_mtime_ns
    assert np.array_equal(predicted(config_of(), workspace, folder)[1], first)
    assert chunk.stat().st_mtime_ns == before
    chunk.write_bytes(chunk.read_bytes()[:50])  # torn
    assert np.array_equal(predicted(config_of(), workspace, folder)[1], first)


def test_files_that_cannot_be_read_are_named_and_never_predicted(
    trained, config_of, workspace, evaluation_set, tmp_path
):
    folder = shutil.copytree(evaluation_set[0], tmp_path / "broken")
    (folder / "audio/3.wav").write_bytes(b"RIFF, but no more")
    with pytest.raises(DataError, match=r"audio/3\.wav"):
        predicted(config_of(), workspace, folder)
    with pytest.raises(DataError, match=r"audio/3\.wav"):  # nor the second time
        predicted(config_of(), workspace, folder)
    (folder / "audio/3.wav").unlink()
    assert len(predicted(config_of(), workspace, folder)[0]) == len(evaluation_set[1]) - 1


def test_a_list_decides_what_is_predicted_and_in_which_order(evaluation_set, tmp_path):
    folder = tmp_path / "listed"
    (folder / "evaluation_setup").mkdir(parents=True)
    path = folder / "evaluation_setup/fold1_test.csv"
    path.write_text("filename\tdevice_id\r\naudio/2.wav\ta\r\naudio/0.wav\tunknown")
    assert list_files(folder) == ["audio/2.wav", "audio/0.wav"]
    path.write_text("filename\naudio/2.wav\naudio/2.wav\n")
    with pytest.raises(DataError, match="twice"):
        list_files(folder)
    path.write_text("filename\n../../etc/passwd\n")
    with pytest.raises(DataError, match="outside"):
        list_files(folder)
    with pytest.raises(DataError, match="neither"):
        list_files(tmp_path)


# -- submission


def output(rows):
    return format_predictions(
        [f"audio/{n}.wav" for n in range(rows)], np.random.default_rng(0).dirichlet(np.ones(10), rows)
    )


def test_an_output_of_predictions_keeps_every_rule():
    assert check_output(output(30), 30) == []
    assert output(1).splitlines()[0].split("\t") == ["filename", "scene_label", *SCENES]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows[:-1], "must contain 30 files; contains 29"),
        (lambda rows: [rows[0].replace("\t", ","), *rows[1:]], "line 1: the header"),
        (lambda rows: [*rows[:-1], rows[-2]], "line 31: duplicate file 28.wav"),
        (
            lambda rows: [*rows[:-1], rows[-1].replace("29.wav", "b.wav")],
            "line 31: file name 'b.wav' must have the form <number>.wav",
        ),
        (lambda rows: [*rows[:-1], "29.wav\tbeach\t" + rows[-1].split("\t", 2)[2]], "line 31: unknown scene 'beach'"),
        (lambda rows: [*rows[:-1], rows[-1] + "\t0.1"], "line 31: must have 12 columns, has 13"),
        (lambda rows: [*rows[:-1], "29.wav\tbus" + "\t0.5" * 10], "line 31: must have ten probabilities that sum to 1"),
        (lambda rows: [*rows[:-1], "29.wav\tbus\t1.0" + "\t0" * 9], "line 31: bus is not the most probable scene"),
        (lambda rows: [*rows[:-1], "29.wav\tbus\tnan" + "\t0" * 9], "line 31: must have ten probabilities"),
    ],
)
def test_an_output_that_breaks_a_rule_is_refused_with_its_line(change, told):
    problems = check_output("\n".join(change(output(30).splitlines())) + "\n", 30)
    assert any(told in problem for problem in problems)


@pytest.mark.parametrize("label", ["Lee_HYU_task1_5", "Lee_task1_1", "Lee_HYU_task2_1", "../Lee_HYU_task1_1"])
def test_a_label_the_challenge_does_not_take_is_refused(label):
    check_label("Lee_HYU_task1_1", "BCRes2Net")
    with pytest.raises(ConfigError, match="Lastname_INST_task1_N"):
        check_label(label, "BCRes2Net")
    with pytest.raises(ConfigError, match="1 to 10 characters"):
        check_label("Lee_HYU_task1_1", "BC-Res2Net-40")


def test_an_author_without_an_address_is_refused():
    with pytest.raises(ConfigError, match="First name; Last name; e-mail; affiliation"):
        parse_author("Ada Lovelace")


@pytest.mark.slow
def test_from_a_trial_to_the_challenges_zip_by_commands(trained, workspace, evaluation_set, tmp_path):
    folder, names = evaluation_set
    at = ["--workspace", str(workspace.root)]
    run("predict", trained.signature, str(folder), *at, cwd=tmp_path)
    words = ["--predictions", f"{trained.signature}.output.csv", "--label", "Lee_HYU_task1_1", "--name", "BC-Res2Net"]
    words += ["--abbreviation", "BCRes2", "--author", "Ada; Lovelace; ada@lab.org; Lab"]
    refused = run("submission", trained.signature, *words, *at, cwd=tmp_path, code=2)
    assert f"must contain 118,800 files; contains {len(names)}" in refused.stderr
    run("submission", trained.signature, *words, "--files", str(len(names)), *at, cwd=tmp_path)
    with zipfile.ZipFile(tmp_path / "Lee_HYU_task1_1.zip") as file:
        inner = "task1/Lee_HYU_task1_1/Lee_HYU_task1_1"
        assert sorted(file.namelist()) == [f"{inner}.meta.yaml", f"{inner}.output.csv"]
        meta = yaml.safe_load(file.read(f"{inner}.meta.yaml"))
        assert check_output(file.read(f"{inner}.output.csv").decode(), len(names)) == []
    assert meta["submission"]["authors"] == [
        {
            "firstname": "Ada",
            "lastname": "Lovelace",
            "email": "ada@lab.org",
            "affiliation": "Lab",
            "corresponding": True,
        }
    ]
    assert meta["system"]["complexity"]["total_parameters"] == trained.complexity.params
    found = meta["results"]["development_dataset"]
    assert list(found["device_wise"]) == list(DEVICES)
    scores = {(s.by, s.name): s for s in trained.scores if s.split == "test"}
    assert found["overall"]["logloss"] == round(scores["overall", "macro"].log_loss, 4)
    assert found["device_wise"]["s6"]["accuracy"] == round(100 * scores["device", "s6"].accuracy, 2)


# -- networks for other runtimes


@pytest.mark.slow
@pytest.mark.parametrize(("form", "settings"), [("onnx-int8", ROUNDED), ("pt2", {})])
def test_another_runtime_computes_what_the_trainer_predicted(config_of, workspace, tmp_path, form, settings):
    config = config_of(**settings)
    run_trial(config, workspace)
    out = tmp_path / "network"
    found = export_trial(config, workspace, form, out, 50, lambda line: None)
    assert (found.segments, found.bytes) == (50, out.stat().st_size)
    assert found.same_scene >= 0.98
    assert found.largest_difference < (0.5 if form == "onnx-int8" else 1e-3)
    assert found.log_loss == pytest.approx(found.trainers_log_loss, abs=0.02)
    assert str(tmp_path.parent).encode() not in out.read_bytes()
    if form == "pt2":
        return
    session = onnxruntime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    for batch, frames in ((1, 16), (3, 16), (2, 157)):  # batches and lengths are free
        (logits,) = session.run(None, {"log_mel": torch.randn(batch, 1, 32, frames).numpy()})
        assert logits.shape == (batch, 10)
    model = onnx.load_from_string(out.read_bytes())
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert notes["signature"] == config.signature
    assert notes["scenes"].split() == list(SCENES)
    whole = sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8)
    assert whole >= run_trial(config, workspace).complexity.params


@pytest.mark.slow
def test_a_network_of_tiny_numbers_keeps_the_eps_of_its_resnorms():
    # An optimizer that takes 1e-8 for zero divides by the deviation of silent channels, which is none.
    torch.manual_seed(0)
    network = Network(ModelConfig(width=8, mfa=False, fpm=False)).eval()
    log_mel = torch.randn(4, 1, 32, 16)
    run_onnx = onnx_runner(as_onnx(network, log_mel[:2], {}))
    for inputs in (log_mel, torch.zeros_like(log_mel)):
        with torch.inference_mode():
            assert np.allclose(run_onnx(inputs.numpy()), network(inputs).numpy(), atol=1e-4)


def test_a_form_that_is_not_the_networks_is_refused_with_the_one_that_is(trained, config_of, workspace, tmp_path):
    with pytest.raises(WorkspaceError, match="computes in floating point; use --format onnx"):
        export_trial(config_of(), workspace, "onnx-int8", tmp_path / "x", 10, lambda line: None)
    assert finished_trial_config(workspace, trained.signature) == config_of()
    with pytest.raises(WorkspaceError, match="no finished trial 'zzz'"):
        finished_trial_config(workspace, "zzz")


def test_the_bytes_of_a_zip_are_those_of_its_content():
    from asc_sweeps.deploy.submission import submission_zip

    one, two = (submission_zip("Lee_HYU_task1_1", output(3), {"a": 1}, "note") for _ in range(2))
    assert one == two
    assert json.dumps(zipfile.ZipFile(io.BytesIO(one)).namelist())
