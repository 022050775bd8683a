// What a person would see at once: content beside the window, text that is cut off, and targets too small to be hit.
const faults = [];
const width = document.documentElement.clientWidth;
const name = one => one.outerHTML.slice(0, 120);
// A head of columns that only a screen reader has is clipped to one pixel.
const shown = one => one.checkVisibility({ checkVisibilityCSS: true }) && !one.closest('.hidden, .skip, thead');
if (document.documentElement.scrollWidth > width) {
    faults.push(`scrolls sideways: ${document.documentElement.scrollWidth} in ${width}`);
}
for (const one of document.body.querySelectorAll('*')) {
    if (!shown(one)) continue;
    const box = one.getBoundingClientRect();
    if (box.width === 0 || box.height === 0) continue;
    // Text of a picture shrinks with the picture.
    if (one.tagName === 'text' && box.height < 12) faults.push(`too small to be read, ${box.height} high: ${one.outerHTML}`);
    if (one.closest('svg') !== null && one.tagName !== 'svg') continue;
    if (box.left < -0.5 || box.right > width + 0.5) faults.push(`beside the window: ${name(one)}`);
    const style = getComputedStyle(one);
    const cuts = ['hidden', 'clip'].includes(style.overflowX) || ['hidden', 'clip'].includes(style.overflowY);
    if (cuts && (one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1)) {
        faults.push(`cut off: ${name(one)}`);
    }
    if (one.tagName === 'BUTTON' && one.innerText.length > 2 && box.height > box.width) faults.push(`on its head: ${name(one)}`);
    // A field shows a part of what is in it, but a button or a choice all of it.
    if (['BUTTON', 'SELECT'].includes(one.tagName) && one.scrollWidth > one.clientWidth + 1) {
        faults.push(`cut off: ${name(one)}`);
    }
}
// Pointed at with a finger, but not on paper. A link within a sentence is as high as its line.
for (const one of document.querySelectorAll('a[href], button, input, select, textarea, summary')) {
    if (!shown(one) || one.type === 'hidden' || matchMedia('print').matches) continue;
    const box = one.getBoundingClientRect();
    const stands_alone = getComputedStyle(one).display !== 'inline';
    if (box.height < (stands_alone ? 24 : 16) || stands_alone && box.width < 20) {
        faults.push(`too small, ${Math.round(box.width)} x ${Math.round(box.height)}: ${name(one)}`);
    }
}
// The bar is as wide as what is below it.
const [bar, title] = ['header .name', 'main h1'].map(what => document.querySelector(what));
if (bar !== null && shown(bar) && title !== null) {
    const [left, below] = [bar, title].map(one => one.getBoundingClientRect().left);
    if (Math.abs(left - below) > 1) faults.push(`the bar begins at ${left}, what is below it at ${below}`);
}
return faults;
