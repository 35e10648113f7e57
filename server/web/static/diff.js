// Which words of one text are not in another: the longest common subsequence.

const LIMIT = 400 * 400;

/** Split a text into what is compared: words, or characters where no blanks part the words. */
export function split(text, characters) {
  const pieces = characters
    ? text.match(/[\p{sc=Latn}\p{sc=Cyrl}\p{sc=Grek}]+|\p{N}+|\s+|.\p{M}*/gsu)
    : text.match(/[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}\s]|\s+/gu);
  return pieces ?? [];
}

/** Return [[piece, differs]] for a text, neighbours of one kind joined: what some other lacks. */
export function differences(text, others, characters) {
  const mine = split(text, characters);
  const shared = others.map((other) => inCommon(mine, split(other, characters).filter((piece) => piece.trim())));
  const common = new Set([...mine.keys()].filter((index) => shared.every((one) => one.has(index))));
  const pieces = [];
  mine.forEach((piece, index) => {
    const blank = !piece.trim();
    const last = pieces.at(-1);
    const differs = blank ? Boolean(last?.[1]) && nextDiffers(mine, common, index) : !common.has(index);
    if (last && last[1] === differs) last[0] += piece;
    else pieces.push([piece, differs]);
  });
  return pieces;
}

function nextDiffers(mine, common, index) {
  for (let next = index + 1; next < mine.length; next += 1) {
    if (mine[next].trim()) return !common.has(next);
  }
  return false;
}

/** Return the indices of `mine` that lie on a longest common subsequence. */
function inCommon(mine, theirs) {
  const places = mine.map((piece, index) => index).filter((index) => mine[index].trim());
  const rows = places.length;
  const columns = theirs.length;
  const found = new Set();
  if (rows * columns > LIMIT) {
    const known = new Set(theirs);
    return new Set(places.filter((index) => known.has(mine[index])));
  }
  const lengths = Array.from({ length: rows + 1 }, () => new Uint16Array(columns + 1));
  for (let row = rows - 1; row >= 0; row -= 1) {
    for (let column = columns - 1; column >= 0; column -= 1) {
      lengths[row][column] =
        mine[places[row]] === theirs[column]
          ? lengths[row + 1][column + 1] + 1
          : Math.max(lengths[row + 1][column], lengths[row][column + 1]);
    }
  }
  for (let row = 0, column = 0; row < rows && column < columns; ) {
    if (mine[places[row]] === theirs[column]) {
      found.add(places[row]);
      row += 1;
      column += 1;
    } else if (lengths[row + 1][column] >= lengths[row][column + 1]) row += 1;
    else column += 1;
  }
  return found;
}
