/* python.exe and pythonw.exe: hand the command line to python311.dll. */
#include <stdlib.h>
#include <windows.h>

typedef int (*main_function)(int, wchar_t **);

static int run(int argc, wchar_t **argv)
{
    HMODULE python = LoadLibraryW(L"python311.dll");
    main_function py_main = python ? (main_function)(void *)GetProcAddress(python, "Py_Main") : NULL;
    return py_main ? py_main(argc, argv) : 101;
}

#ifdef GUI
int WINAPI wWinMain(HINSTANCE instance, HINSTANCE previous, LPWSTR line, int show)
{
    (void)instance, (void)previous, (void)line, (void)show;
    return run(__argc, __wargv);
}
#else
int wmain(int argc, wchar_t **argv)
{
    return run(argc, argv);
}
#endif
