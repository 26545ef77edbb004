// Files out of what a browser hands over: choices, folders, drops.

const PICTURE = /\.(bmp|gif|jpe?g|png|webp)$/i;

/** Whether a file's name or type says that it is a picture. macOS's `._` companions are none. */
export function isPicture(file) {
  const name = pathOf(file).split("/").at(-1);
  return !name.startsWith("._") && (PICTURE.test(name) || (!name.includes(".") && file.type.startsWith("image/")));
}

/** A file's path below the folder that was chosen or dropped. */
export function pathOf(file) {
  return file.droppedPath ?? (file.webkitRelativePath || file.name);
}

/** All files of a drop, those in folders included. */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].filter(item => item.kind === "file").map(item => item.webkitGetAsEntry());
  if (entries.every(entry => entry === null)) return [...transfer.files];
  return (await Promise.all(entries.map(filesOf))).flat();
}

async function filesOf(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    file.droppedPath = entry.fullPath.replace(/^\//, "");
    return [file];
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) {  // a reader hands over 100 entries at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    inside.push(...some);
  }
  inside.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
  return (await Promise.all(inside.map(filesOf))).flat();
}
