// A picture from the camera.

const TYPE = "image/jpeg";
const QUALITY = 0.95;
let taken = 0;

/**
 * Open the viewfinder and hand over each picture taken.
 * @param dialog the viewfinder.
 * @param ask takes a list of files.
 * @param trouble takes a line that says why there is no camera.
 */
export async function takePicture(dialog, ask, trouble) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (failure) {
    return trouble(`no picture from a camera: ${failure.message}`);
  }
  const video = dialog.querySelector("video");
  video.srcObject = stream;
  dialog.querySelector("#shoot").onclick = () => shoot(video, ask);
  dialog.querySelector("#close").onclick = () => dialog.close();
  dialog.addEventListener("close", () => stream.getTracks().forEach(track => track.stop()), { once: true });
  dialog.showModal();
}

function shoot(video, ask) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  taken += 1;
  canvas.toBlob(blob => ask([new File([blob], `camera ${taken}.jpg`, { type: TYPE })]), TYPE, QUALITY);
}
