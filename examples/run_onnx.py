"""What a video shows, by a model that `tsf export` wrote: python run_onnx.py model.onnx clip.mp4"""

import json
import sys

import cv2
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
about = session.get_modelmeta().custom_metadata_map
config, prepare = (json.loads(about[f"{name}.json"]) for name in ("config", "preprocessor_config"))
several = config.get("tsf", config).get("multi_label", "multi" in config.get("problem_type", ""))
frames = session.get_inputs()[0].shape[1]
height, width = prepare["crop_size"]["height"], prepare["crop_size"]["width"]

video, pictures = cv2.VideoCapture(sys.argv[2]), []
while (read := video.read())[0]:
    sides, shape = prepare["size"], read[1].shape[1::-1]
    scale = sides.get("shortest_edge", 0) / min(shape)  # or both sides, whatever the aspect
    size = [round(side * scale) for side in shape] if scale else [sides["width"], sides["height"]]
    picture = cv2.resize(read[1], size, interpolation=cv2.INTER_AREA)[:, :, ::-1]
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    pictures.append(picture[top : top + height, left : left + width])

# The clip's span in pictures: strides count 30-fps frames, none takes the whole video.
stride, rate = config["frame_sample_rate"], video.get(cv2.CAP_PROP_FPS)
length = (frames * stride - 1) / 30 * rate if stride else len(pictures) * (1 - 1 / frames)
start = max(0, (len(pictures) - length) / 2)
moments = np.linspace(start, min(start + length, len(pictures) - 1), frames).astype(int)
clip = np.stack(pictures)[None, moments]
if not about["tsf.input"].startswith("uint8"):  # a graph of pixels normalises them itself
    clip = (clip / 255 - prepare["image_mean"]) / prepare["image_std"]
    clip = clip.transpose(0, 1, 4, 2, 3).astype(np.float32)
(logits,) = session.run(None, {"clip": clip})[0]
odds = np.exp(logits - (0 if several else logits.max()))
scores = odds / (odds + 1 if several else odds.sum())
for index in scores.argsort()[:-6:-1]:
    print(f"{scores[index]:6.1%}  {config['id2label'][str(index)]}")
