/** A tiny strict XML reader for tests: throws on anything that is not well-formed, and gives elements back as a tree. */
import assert from 'node:assert/strict';

export interface ReadElement {
  name: string;
  attributes: Record<string, string>;
  children: ReadElement[];
  /** Character data directly inside, joined. */
  text: string;
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const TOKEN = /<\/([A-Za-z]+)>|<([A-Za-z]+)((?: [A-Za-z]+="[^"<]*")*)(\/?)>|[^<]+/y;

function decode(text: string): string {
  // oxlint-disable-next-line no-control-regex
  assert.doesNotMatch(
    text,
    /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/u,
    'a character that XML cannot hold',
  );
  return text.replace(/&([^;&]*);?|&/g, (whole, name: string | undefined) => {
    const found = whole.endsWith(';') ? ENTITIES[name ?? ''] : undefined;
    assert.ok(found !== undefined, `entity ${whole}`);
    return found;
  });
}

export function readXml(document: string): ReadElement {
  const header = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';
  assert.ok(document.startsWith(header), 'begins with the declaration');
  const top: ReadElement = { name: '', attributes: {}, children: [], text: '' };
  const open = [top];
  TOKEN.lastIndex = header.length;
  while (TOKEN.lastIndex < document.length) {
    const at = TOKEN.lastIndex;
    const token = TOKEN.exec(document);
    assert.ok(token !== null, `not well-formed at: ${document.slice(at, at + 80)}`);
    const [whole, close, name, attributes = '', empty] = token;
    const inner = open.at(-1);
    assert.ok(inner !== undefined);
    if (close !== undefined) {
      assert.equal(close, inner.name, 'elements nest');
      open.pop();
    } else if (name !== undefined) {
      const element: ReadElement = { name, attributes: {}, children: [], text: '' };
      for (const [, key = '', value = ''] of attributes.matchAll(/ ([A-Za-z]+)="([^"]*)"/g))
        element.attributes[key] = decode(value);
      inner.children.push(element);
      if (empty !== '/') open.push(element);
    } else {
      inner.text += decode(whole);
    }
  }
  assert.equal(open.length, 1, 'every element is closed');
  assert.equal(top.text.trim(), '', 'no text outside the root');
  const [root, ...others] = top.children;
  assert.ok(root !== undefined && others.length === 0, 'one root');
  return root;
}

/** The text of the element at this path of names, below `element`. */
export function textAt(element: ReadElement, ...path: string[]): string {
  let here = element;
  for (const name of path) {
    const next = here.children.find((child) => child.name === name);
    assert.ok(next !== undefined, `<${name}> in <${here.name}>`);
    here = next;
  }
  return here.text;
}

/** `name(child(...)child)`: the shape of a document without its values. */
export function shape(element: ReadElement): string {
  return element.children.length === 0 ? element.name : `${element.name}(${element.children.map(shape).join(' ')})`;
}
