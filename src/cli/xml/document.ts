import { element, xmlDocument, type XmlNode } from './tree.js';

/** What every document begins with. */
function result(opRet: number, opErrno: number, opErrstr: string): XmlNode[] {
  return [
    element('opRet', opRet),
    element('opErrno', opErrno),
    element('opErrstr', ...(opErrstr === '' ? [] : [opErrstr])),
  ];
}

/** `<healInfo>` stands before the result code, everything else after it, as in GlusterFS. */
export function successDocument(nodes: XmlNode[]): string[] {
  const first = nodes.filter((node) => node.name === 'healInfo');
  const rest = nodes.filter((node) => node.name !== 'healInfo');
  return xmlDocument(element('cliOutput', ...first, ...result(0, 0, ''), ...rest));
}

export function failureDocument(message: string, errno: number): string[] {
  return xmlDocument(element('cliOutput', ...result(-1, errno, message)));
}

/** `<cliOp>` and `<output>`: the form of commands without elements of their own. */
export function generic(operation: string | undefined, output: string): XmlNode[] {
  return [...(operation === undefined ? [] : [element('cliOp', operation)]), element('output', output)];
}
