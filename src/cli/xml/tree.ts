/** A small XML writer: elements, attributes, text. What it writes is well-formed for every input. */
export interface XmlNode {
  name: string;
  attributes: Record<string, string>;
  children: (XmlNode | string)[];
}

type Content = XmlNode | string | number | undefined;

/** An element with children in order; text and numbers become character data, undefined is left out. */
export function element(name: string, ...content: Content[]): XmlNode {
  return elementWith(name, {}, ...content);
}

export function elementWith(name: string, attributes: Record<string, string>, ...content: Content[]): XmlNode {
  const children = content
    .filter((part) => part !== undefined)
    .map((part) => (typeof part === 'number' ? String(part) : part));
  return { name, attributes, children };
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
/** What XML 1.0 has no way to write, and the control characters that it could but a terminal would act on. */
const UNWRITABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\ufffe\uffff]|\p{Surrogate}/gu;

/** Character data: the five entities, and `\xNN` for what XML cannot hold. */
export function escapeXml(text: string): string {
  return text
    .replace(UNWRITABLE, (ch) => `\\x${(ch.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`)
    .replace(/[&<>"']/g, (ch) => ENTITIES[ch] ?? ch);
}

function open(node: XmlNode): string {
  let out = `<${node.name}`;
  for (const [key, value] of Object.entries(node.attributes)) out += ` ${key}="${escapeXml(value)}"`;
  return out;
}

function write(node: XmlNode, indent: string, lines: string[]): void {
  if (node.children.length === 0) {
    lines.push(`${indent}${open(node)}/>`);
  } else if (node.children.some((child) => typeof child === 'string')) {
    // Mixed content stays on one line: white space between its parts would be part of the value.
    lines.push(`${indent}${inline(node)}`);
  } else {
    lines.push(`${indent}${open(node)}>`);
    for (const child of node.children) if (typeof child !== 'string') write(child, `${indent}  `, lines);
    lines.push(`${indent}</${node.name}>`);
  }
}

function inline(node: XmlNode): string {
  if (node.children.length === 0) return `${open(node)}/>`;
  const content = node.children.map((child) => (typeof child === 'string' ? escapeXml(child) : inline(child))).join('');
  return `${open(node)}>${content}</${node.name}>`;
}

/** The lines of a whole document. */
export function xmlDocument(root: XmlNode): string[] {
  const lines = ['<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'];
  write(root, '', lines);
  return lines;
}
