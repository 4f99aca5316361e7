/**
 * Sequential models of what a volume holds, for `checkLinearizable`: blocks, whole files, the names of a small tree, locks. Values that are written
 * must be unique, so that a read tells which write it saw.
 */
import type { Model } from './linearizability.js';

// ---------------------------------------------------------------- one block

export const UNWRITTEN = '';
/** A write that failed may have left anything in its block; the next read tells what. */
const ANYTHING = '*';

export type BlockInput = { block: string; write: string } | { block: string; read: true } | { block: string; scribble: string };
/** What was read; '' for a write. */
export type BlockOutput = string;

export function blockModel(initial: string): Model<string, BlockInput, BlockOutput> {
  return {
    initial,
    key: (state) => state,
    step: (state, input, output) => {
      if ('write' in input) return [input.write];
      if ('scribble' in input) return [ANYTHING];
      if (output === undefined) return [state];
      return state === ANYTHING || state === output ? [output] : [];
    },
  };
}

// ---------------------------------------------------------------- a file as a list of blocks

export type FileInput =
  | { write: string; at: number }
  | { append: string }
  /** To so many blocks; what is new is unwritten. */
  | { truncate: number }
  /** `throughPages`: the reader's kernel asks for size and data one after the other; what is cut off in between reads as zeros, as on a local disk. */
  | { read: true; throughPages?: boolean }
  | { size: true };
/** Blocks read, the place of an append, or the number of blocks; 0 for the others. */
export type FileOutput = readonly string[] | number;
/** The place of an append by a program that cannot know it. */
export const PLACE_UNKNOWN = -1;

export function fileModel(initial: readonly string[]): Model<readonly string[], FileInput, FileOutput> {
  const grown = (state: readonly string[], length: number): string[] => [...state, ...Array<string>(Math.max(0, length - state.length)).fill(UNWRITTEN)];
  return {
    initial,
    key: (state) => state.join('|') + state.length,
    step: (state, input, output) => {
      if ('write' in input) return [grown(state, input.at + 1).with(input.at, input.write)];
      if ('append' in input) return output === undefined || output === PLACE_UNKNOWN || output === state.length ? [[...state, input.append]] : [];
      if ('truncate' in input) return [grown(state, input.truncate).slice(0, input.truncate)];
      if ('size' in input) return output === undefined || output === state.length ? [state] : [];
      if (output === undefined) return [state];
      const same = typeof output === 'object' && output.length >= state.length && output.every((value, i) => value === (state[i] ?? UNWRITTEN));
      return same && (output.length === state.length || input.throughPages === true) ? [state] : [];
    },
  };
}

// ---------------------------------------------------------------- names

/** A place in the tree: directory and name in one string. */
export type Place = string;
/** Identity of an inode; one whose creator never heard of it is `?` and a number until somebody sees it. */
type Id = string;

export type NamesInput =
  | { create: Place; token: number }
  | { mkdir: Place; token: number }
  | { unlink: Place }
  | { rmdir: Place }
  | { rename: Place; to: Place }
  | { link: Id; to: Place }
  | { lookup: Place }
  | { list: string };
/** `error`: name of the errno. `id` and `links` (names of a file) of what was created or found. `names` of a listing, in order. */
export interface NamesOutput {
  error?: string;
  id?: Id;
  links?: number;
  names?: readonly string[];
}

/** Place → identity; a directory's identity ends with '/'. */
export type Names = ReadonlyMap<Place, Id>;

export function isDirectoryId(id: Id): boolean {
  return id.endsWith('/');
}

function linksOf(names: Names, id: Id): number {
  let links = 0;
  for (const other of names.values()) if (other === id) links++;
  return links;
}

function without(names: Names, place: Place): Map<Place, Id> {
  const after = new Map(names);
  after.delete(place);
  return after;
}

function refuses(names: Names, output: NamesOutput | undefined, ...errors: string[]): readonly Names[] {
  return output === undefined || (output.error !== undefined && errors.includes(output.error)) ? [names] : [];
}

/** `known`: identities that a creator was told; nobody else's creation can turn out to be one of them. */
export function namesModel(initial: Names, known: ReadonlySet<Id>): Model<Names, NamesInput, NamesOutput> {
  const make = (names: Names, place: Place, token: number, directory: boolean, output: NamesOutput | undefined): readonly Names[] => {
    if (names.has(place)) return refuses(names, output, 'EEXIST');
    if (output?.error !== undefined) return [];
    const id = output?.id ?? `?${token}${directory ? '/' : ''}`;
    if (output !== undefined && [...names.values()].includes(id)) return [];
    return [new Map(names).set(place, id)];
  };
  const lookup = (names: Names, place: Place, output: NamesOutput | undefined): readonly Names[] => {
    const id = names.get(place);
    if (id === undefined || output === undefined) return refuses(names, output, 'ENOENT');
    if (output.id === undefined || isDirectoryId(id) !== isDirectoryId(output.id)) return [];
    if (output.links !== undefined && !isDirectoryId(id) && output.links !== linksOf(names, id)) return [];
    if (id === output.id) return [names];
    if (!id.startsWith('?') || known.has(output.id) || [...names.values()].includes(output.id)) return [];
    // Now it is known what the lost creation made.
    return [new Map([...names].map(([at, old]) => [at, old === id ? (output.id as Id) : old]))];
  };
  const remove = (names: Names, place: Place, directory: boolean, output: NamesOutput | undefined): readonly Names[] => {
    const id = names.get(place);
    if (id === undefined) return refuses(names, output, 'ENOENT');
    if (isDirectoryId(id) !== directory) return refuses(names, output, directory ? 'ENOTDIR' : 'EISDIR');
    return output?.error === undefined ? [without(names, place)] : [];
  };
  const rename = (names: Names, from: Place, to: Place, output: NamesOutput | undefined): readonly Names[] => {
    const id = names.get(from);
    if (id === undefined) return refuses(names, output, 'ENOENT');
    const target = names.get(to);
    if (target !== undefined && isDirectoryId(target) && !isDirectoryId(id)) return refuses(names, output, 'EISDIR');
    if (target !== undefined && !isDirectoryId(target) && isDirectoryId(id)) return refuses(names, output, 'ENOTDIR');
    if (output?.error !== undefined) return [];
    // Two names of one inode: rename does nothing, says POSIX.
    return target === id ? [names] : [without(names, from).set(to, id)];
  };
  const link = (names: Names, id: Id, to: Place, output: NamesOutput | undefined): readonly Names[] => {
    if (names.has(to)) return refuses(names, output, 'EEXIST', 'ESTALE', 'ENOENT');
    const linked = (): readonly Names[] => [new Map(names).set(to, id)];
    // An inode without a name may be there still, or be gone.
    if (linksOf(names, id) === 0) return output === undefined ? [names, ...linked()] : output.error === undefined ? linked() : refuses(names, output, 'ESTALE', 'ENOENT');
    return output?.error === undefined ? linked() : [];
  };
  const list = (names: Names, directory: string, output: NamesOutput | undefined): readonly Names[] => {
    if (output === undefined) return [names];
    const prefix = `${directory}/`;
    const present = [...names.keys()].filter((place) => place.startsWith(prefix)).map((place) => place.slice(prefix.length));
    return present.toSorted().join('/') === (output.names ?? []).join('/') && output.error === undefined ? [names] : [];
  };
  return {
    initial,
    key: (names) => [...names].map(([place, id]) => `${place}=${id}`).toSorted().join(),
    step: (names, input, output) => {
      if ('create' in input) return make(names, input.create, input.token, false, output);
      if ('mkdir' in input) return make(names, input.mkdir, input.token, true, output);
      if ('unlink' in input) return remove(names, input.unlink, false, output);
      if ('rmdir' in input) return remove(names, input.rmdir, true, output);
      if ('rename' in input) return rename(names, input.rename, input.to, output);
      if ('link' in input) return link(names, input.link, input.to, output);
      if ('lookup' in input) return lookup(names, input.lookup, output);
      return list(names, input.list, output);
    },
  };
}

// ---------------------------------------------------------------- a lock

/** `lost`: the holder died or its session ended; the lock goes from it at some instant, unless it had none. */
export type LockInput = { lock: string } | { unlock: string } | { lost: string };
export type LockOutput = 'granted' | 'refused';

/** Who holds it; '' for nobody. */
export const lockModel: Model<string, LockInput, LockOutput> = {
  initial: '',
  key: (holder) => holder,
  step: (holder, input, output) => {
    if ('lock' in input) {
      const free = holder === '' || holder === input.lock;
      if (output === undefined) return free ? [input.lock] : [holder];
      if (output === 'granted') return free ? [input.lock] : [];
      return free ? [] : [holder];
    }
    const owner = 'unlock' in input ? input.unlock : input.lost;
    return [holder === owner ? '' : holder];
  },
};
