// Where each party's line stands: parties by zone and member, members folded or not.

export const ZONES = ["internet", "lgwan", "cloud", "mynumber"];
export const GROUPS_MAX = 60;
const WIDTH_MIN = 46;
const WIDTH_MAX = 150;

/** Columns in order: `{key, label, member, zone, x, addresses}`, their groups, and `of`: address → column. */
export function layOut(parties, folded, room) {
  const groups = grouped(parties);
  const columns = [];
  for (const group of groups) {
    group.start = columns.length;
    group.folded = folded.has(group.key) || (group.bundled && group.parties.length > GROUPS_MAX);
    const sets = group.folded ? [[group.member, group.parties]] : group.parties.map((one) => [one.address, [one]]);
    for (const [key, own] of sets) columns.push({ key, group, addresses: own.map((one) => one.address) });
    group.end = columns.length;
  }
  const width = Math.max(WIDTH_MIN, Math.min(WIDTH_MAX, Math.floor((room - 24) / Math.max(1, columns.length))));
  const of = new Map();
  columns.forEach((column, at) => {
    column.at = at;
    column.x = 12 + width * (at + 0.5);
    for (const address of column.addresses) of.set(address, column);
  });
  return { columns, groups, of, each: width, width: 24 + width * columns.length };
}

function grouped(parties) {
  const groups = new Map();
  for (const party of parties) {
    const zone = party.zone ?? "none";
    const key = `${zone} ${party.member}`;
    if (!groups.has(key)) groups.set(key, { key, zone, member: party.member, parties: [] });
    groups.get(key).parties.push(party);
  }
  if (groups.size > GROUPS_MAX) bundle(groups);
  const place = (group) => (ZONES.indexOf(group.zone) + ZONES.length + 1) % (ZONES.length + 1);
  return [...groups.values()].map((group, at) => [place(group), at, group])
    .sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , group]) => group);
}

/** So many members that nobody could tell them apart stand together: `muni/*`. */
function bundle(groups) {
  const single = [...groups.values()];
  groups.clear();
  for (const group of single) {
    const member = bundled(group.member);
    const key = `${group.zone} ${member}`;
    if (!groups.has(key)) groups.set(key, { ...group, key, member, parties: [], bundled: true });
    groups.get(key).parties.push(...group.parties);
  }
}

export function bundled(member) {
  return `${member.split("/")[0]}/*`;
}

/** How wide the columns would like to be. */
export function widthOf(parties, folded) {
  const count = grouped(parties).reduce((sum, group) => sum + (folded.has(group.key) || group.bundled ? 1 : group.parties.length), 0);
  return 24 + count * WIDTH_MAX;
}
