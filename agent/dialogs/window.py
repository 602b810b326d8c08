"""What all dialogs share: look, scaling, keys, position, and the pipe to the client."""

from __future__ import annotations

import sys
import tkinter as tk
from collections.abc import Callable
from gettext import NullTranslations
from tkinter import font, ttk
from typing import Any

from agent.dialogs.messages import FromClient, FromDialog, Front, Open
from agent.dialogs.palette import Appearance, Palette
from agent.dialogs.pipe import Pipe
from agent.paths import ASSETS
from protocol.text import clean

POLL_MS = 50  # interval for polling the pipe: Tk cannot be woken safely from another thread
TOPMOST_MS = 400
PICTURE_SIZES = (32, 40, 48, 56, 64, 96)  # sides of the pictures in `agent/assets/`, in pixels
BUTTONS_IN_A_ROW = 3  # with more, Japanese texts make the window wider than a screen at 300 %
TEXT_POINTS = 9  # the size of texts in windows of Windows 10 and 11
TEXT_WIDTH = 420  # pixels at 96 dpi at which texts over both columns are wrapped
NARROWEST_SCREEN = (640, 520)  # pixels at 96 dpi that the largest window needs


class Window:
    """One dialog's window. `on_message` is called for what the client sends."""

    def __init__(self, opening: Open, pipe: Pipe, translations: NullTranslations) -> None:
        self._look = Appearance()
        self._tell_screen_readers: Callable[[], None] = lambda: None
        if sys.platform == "win32":
            from agent.dialogs.windows.accessible import Accessible
            from agent.dialogs.windows.appearance import appearance, use_system_dpi

            use_system_dpi()  # before Tk starts
            self._look = appearance()
        self.root = tk.Tk(className="coconowork-client")
        self.root.withdraw()
        if sys.platform == "win32":
            self._tell_screen_readers = Accessible(self.root).refresh
        self.translations = translations
        self.on_message: Callable[[FromClient], None] = lambda _: None
        self.on_enter: Callable[[], None] = self.close
        self.on_turn: Callable[[], None] = lambda: None  # called every POLL_MS
        self.first: tk.Misc = self.root  # the widget that gets the keyboard focus first
        self._pipe = pipe
        self._rows = 0
        self._poll_job = self._topmost_job = ""
        self._quiet = opening.quiet
        self._pictures: dict[str, tk.PhotoImage] = {}
        self._scale = self._set_scale()
        self._set_style()
        self.root.resizable(width=False, height=False)
        self.root.iconphoto(True, self.picture("app"))
        self.root.protocol("WM_DELETE_WINDOW", self.close)
        self.root.bind("<Escape>", lambda _: self.close())
        for key in ("<Return>", "<KP_Enter>"):
            self.root.bind(key, self._enter)
        self.root.bind("<Alt-Key>", self._on_alt_key)
        self.body = ttk.Frame(self.root, padding=self.px(20))
        self.body.grid(sticky="nsew")
        self.body.columnconfigure(1, weight=1)

    def translate(self, text: str) -> str:
        return self.translations.gettext(text)

    # --- life

    def run(self) -> None:
        """Show the window in front; return when it is closed."""
        self.root.update_idletasks()
        if sys.platform == "win32" and self._look.dark:
            from agent.dialogs.windows.appearance import darken_frame

            # Tk makes the frame when it first shows the window.
            self.root.bind("<Map>", lambda _: darken_frame(int(self.root.wm_frame(), 16)))
        self._centre()
        self.root.update_idletasks()  # else Tk may show the window before it moves it
        if self._quiet:
            self.root.state("normal")  # `deiconify` takes the keyboard focus on Windows
            self.on_top()
        else:
            self.to_front()
        self.poll()
        self.root.mainloop()

    def close(self) -> None:
        for job in (self._poll_job, self._topmost_job):
            if job:
                self.root.after_cancel(job)
        self.root.destroy()

    def to_front(self) -> None:
        """Bring the window to the front, with the keyboard focus; later others may cover it."""
        self.root.deiconify()
        self.on_top()
        self.root.lift()
        focused = self.root.focus_lastfor()
        # Before the window is first drawn, Tk knows no field that had the focus last.
        (self.first if focused in {None, self.root} else focused).focus_force()

    def on_top(self) -> None:
        """Show the window above the others for a moment, without taking the keyboard focus."""
        self.root.attributes("-topmost", True)
        self._topmost_job = self.root.after(TOPMOST_MS, self._give_way)

    def _give_way(self) -> None:
        self._topmost_job = ""
        self.root.attributes("-topmost", False)

    def redraw(self, draw: Callable[[], tk.Misc]) -> None:
        """Replace the window's content; `draw` returns the widget that gets the focus.

        The widget gets it only if the window had it: the user may be in another program.
        """
        had_keyboard = self.root.focus_get() is not None
        for child in self.body.winfo_children():
            child.destroy()
        self.first = draw()
        if had_keyboard:
            self.first.focus_force()

    def send(self, message: FromDialog) -> None:
        self._pipe.send(message)

    def poll(self) -> None:
        """Handle what the client has sent, and repeat that every POLL_MS."""
        for message in self._pipe.arrived():
            if message is None:
                self.close()
                return
            if isinstance(message, Front):
                self.to_front()
            else:
                self.on_message(message)
        self.on_turn()
        self._poll_job = self.root.after(POLL_MS, self.poll)
        self._tell_screen_readers()  # last: a screen reader may have closed the window

    def _enter(self, event: tk.Event[tk.Misc]) -> None:
        """Press the button that has the keyboard focus, else the window's default button."""
        if isinstance(event.widget, ttk.Button):
            event.widget.invoke()
        else:
            self.on_enter()

    def _on_alt_key(self, event: tk.Event[tk.Misc]) -> None:
        """Press the button with this underlined letter, or go to the field after its label."""
        path = str(self.root.tk.call("tk::FindAltKeyTarget", self.root, event.keysym))
        widget = self.root.nametowidget(path) if path else None
        if isinstance(widget, ttk.Label):
            following = widget.tk_focusNext()
            if following is not None:
                following.focus_set()
        elif isinstance(widget, ttk.Button | ttk.Checkbutton):
            widget.invoke()

    # --- look

    def px(self, pixels: float) -> int:
        return round(pixels * self._scale)

    def marked(self, text: str) -> dict[str, Any]:
        """Return the options of a widget with this text, in which `&` marks the letter for Alt."""
        shown, place = self.root.tk.call("tk::UnderlineAmpersand", text)
        return {"text": shown, "underline": place}

    def picture(self, name: str) -> tk.PhotoImage:
        """Return a picture from `agent/assets/`, 32 px at 96 dpi."""
        if name not in self._pictures:
            side = max((size for size in PICTURE_SIZES if size <= self.px(32)), default=32)
            drawn = tk.PhotoImage(master=self.root, file=ASSETS / f"{name}-{side}.png")
            self._pictures[name] = drawn.zoom(max(1, self.px(32) // side))
        return self._pictures[name]

    def heading(self, picture: str, text: str) -> None:
        """Add the first line of the window, over both columns."""
        frame = ttk.Frame(self.body)
        frame.grid(row=self.new_row(), column=0, columnspan=2, sticky="w", pady=(0, self.px(10)))
        image = ttk.Label(frame, image=self.picture(picture))
        image.grid(row=0, column=0, padx=(0, self.px(12)))
        label = ttk.Label(frame, text=text, style="Heading.TLabel", wraplength=self.px(TEXT_WIDTH))
        label.grid(row=0, column=1)

    def paragraph(self, text: str, *, style: str = "TLabel") -> ttk.Label:
        """Add text over both columns; return it."""
        label = ttk.Label(self.body, text=text, wraplength=self.px(TEXT_WIDTH), style=style)
        label.grid(row=self.new_row(), column=0, columnspan=2, sticky="w", pady=(0, self.px(8)))
        return label

    def row(self, label: str, value: str) -> None:
        """Add a label and its value."""
        row = self.new_row()
        ttk.Label(self.body, text=label, style="Quiet.TLabel").grid(
            row=row, column=0, sticky="nw", padx=(0, self.px(14)), pady=self.px(3)
        )
        shown = ttk.Label(self.body, text=clean(value, 300), wraplength=self.px(300))
        shown.grid(row=row, column=1, sticky="w", pady=self.px(3))

    def new_row(self) -> int:
        """Return the number of a new row, below all rows in use, also the hidden ones."""
        self._rows += 1
        return self._rows

    def buttons(
        self, *texts_and_commands: tuple[str, Callable[[], None]], default: int = 0
    ) -> list[ttk.Button]:
        """Add buttons at the lower right, more than three in two columns; return them.

        Enter presses number `default`. The last one closes the window.
        """
        frame = ttk.Frame(self.body)
        frame.grid(row=self.new_row(), column=0, columnspan=2, sticky="e", pady=(self.px(14), 0))
        made = []
        gap, count = self.px(8), len(texts_and_commands)
        columns = count if count <= BUTTONS_IN_A_ROW else 2
        for position, (text, command) in enumerate(texts_and_commands):
            button = ttk.Button(frame, **self.marked(text), command=command)
            if position == default:
                button.configure(default="active", style="Default.TButton")
            row, column = divmod(position, columns)
            if position == count - 1:
                column = columns - 1
            button.grid(row=row, column=column, sticky="ew", padx=(gap, 0), pady=(row and gap, 0))
            made.append(button)
        if columns < count:
            frame.columnconfigure((0, 1), uniform="buttons")
        return made

    def _centre(self) -> None:
        width, height = self.root.winfo_reqwidth(), self.root.winfo_reqheight()
        x = (self.root.winfo_screenwidth() - width) // 2
        y = (self.root.winfo_screenheight() - height) // 3
        self.root.geometry(f"+{x}+{y}")

    def _set_scale(self) -> float:
        """Return the screen's pixels per pixel at 96 dpi, more if the user wants large texts."""
        dots = max(1.0, float(self.root.tk.call("tk", "scaling")) * 72 / 96)
        screen = self.root.winfo_screenwidth(), self.root.winfo_screenheight()
        most = min(have / need for have, need in zip(screen, NARROWEST_SCREEN, strict=True))
        self._text_scale = max(1.0, min(self._look.text_scale, most / dots))
        return dots * self._text_scale

    def _set_style(self) -> None:
        style, palette = ttk.Style(self.root), self._look.palette
        style.theme_use("clam")
        default = font.nametofont("TkDefaultFont", root=self.root)
        size = default.actual("size")
        if sys.platform == "win32":
            default.configure(**font.nametofont("TkMenuFont", root=self.root).actual())
            size = TEXT_POINTS  # the menu font's size may include the text scale
        default.configure(size=round(size * self._text_scale))
        font.nametofont("TkTextFont", root=self.root).configure(**default.actual())  # in fields
        large = default.copy()
        large.configure(size=round(default.actual("size") * 1.3), weight="bold")
        code = default.copy()
        code.configure(size=round(default.actual("size") * 2.6), weight="bold")
        self._fonts = [large, code]
        self.root.configure(background=palette.paper)
        style.configure(
            ".",
            background=palette.paper,
            foreground=palette.text,
            bordercolor=palette.border,
            focuscolor=palette.accent,
            troughcolor=palette.field,
        )
        style.map(".", foreground=[("disabled", palette.disabled)])
        self._set_style_of_controls(style, palette)
        style.configure("Heading.TLabel", font=large)
        style.configure("Code.TLabel", font=code)
        for name in ("Quiet.TLabel", "Hint.TLabel"):
            style.configure(name, foreground=palette.quiet)
        style.configure("Error.TLabel", foreground=palette.error)
        style.configure("Warning.TLabel", foreground=palette.warning)

    def _set_style_of_controls(self, style: ttk.Style, palette: Palette) -> None:
        """Set the colours, and the frame around the field or button that has the keyboard focus."""
        field, button = palette.field, palette.button
        for name, ground in (("TEntry", field), ("TButton", button)):
            style.configure(name, lightcolor=ground, darkcolor=ground)
            edges = [("invalid", palette.error), ("focus", palette.accent)]
            style.map(name, bordercolor=edges, lightcolor=edges, darkcolor=edges)
        style.configure(
            "TEntry",
            fieldbackground=field,
            insertcolor=palette.text,
            selectbackground=palette.accent,
            selectforeground=palette.on_accent,
        )
        style.map("TEntry", fieldbackground=[("disabled", palette.paper)])
        style.configure(
            "TButton",
            padding=(self.px(8), self.px(2)),
            background=button,
            foreground=palette.button_text,
        )
        style.map("TButton", background=[("disabled", button), ("active", palette.hover)])
        style.configure("Default.TButton", background=palette.accent, foreground=palette.on_accent)
        ring = [("focus", palette.on_accent), ("", palette.accent)]
        style.map(
            "Default.TButton",
            background=[("disabled", button), ("", palette.accent)],
            bordercolor=[("focus", palette.text), ("", palette.accent)],
            lightcolor=ring,
            darkcolor=ring,
            focuscolor=[("", palette.accent)],
        )
        # The theme's own box shows a cross when it is ticked, which means "no" in Japan.
        self._boxes = [self._box(palette, ticked=ticked) for ticked in (False, True)]
        box = self._boxes[0].width()
        style.element_create(
            "box",
            "image",
            self._boxes[0],
            ("selected", self._boxes[1]),
            width=box + self.px(4),
            sticky="w",
        )
        style.layout(
            "TCheckbutton",
            [
                ("box", {"side": "left", "sticky": ""}),
                ("Checkbutton.focus", {"side": "left", "children": [("Checkbutton.label", None)]}),
            ],
        )
        style.map("TCheckbutton", background=[])
        style.configure(
            "TProgressbar",
            background=palette.accent,
            lightcolor=palette.accent,
            darkcolor=palette.accent,
        )

    def _box(self, palette: Palette, *, ticked: bool) -> tk.PhotoImage:
        """Return the picture of a box, at the scale of the screen."""
        size = self.px(13)
        image = tk.PhotoImage(master=self.root, width=size, height=size)
        image.put(palette.border, to=(0, 0, size, size))
        image.put(palette.field, to=(1, 1, size - 1, size - 1))
        corner, bottom, stroke = size * 2 // 5, size * 4 // 5, max(2, size // 6)
        for x in range(size // 5, size * 4 // 5) if ticked else ():
            y = bottom - abs(x - corner)
            image.put(palette.text, to=(x, y - stroke, x + 1, y))
        return image
